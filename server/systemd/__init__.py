"""What a service manager gives a server, and wants to hear of it, without its library."""
