"""Game-theoretic mechanisms: cooperative, leader-follower and price games."""
