"""Part Three, IO: tasks that wait for sockets, from ten clients to ten thousand."""
