"""Double auctions: orders meet in one book."""
