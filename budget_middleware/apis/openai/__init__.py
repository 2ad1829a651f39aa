"""OpenAI's APIs, as OpenAI, Azure and those who follow them have them."""
