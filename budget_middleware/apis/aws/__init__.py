"""Amazon Bedrock's converse and invoke."""
