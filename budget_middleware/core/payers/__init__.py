"""Who pays: accounts and their texts, those of one request, and where their subjects are found."""
