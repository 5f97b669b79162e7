"""What runs inside Locust: users, their connections, and what is recorded of them."""
