"""What the entries of the journal come to: figures that are explained, proven, and reported."""
