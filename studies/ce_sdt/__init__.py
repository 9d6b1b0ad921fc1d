"""CE-SDT's experiment: a community of 60 that trades request by request, and its figures."""
