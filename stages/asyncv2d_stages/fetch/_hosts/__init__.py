"""What is kept of hosts: whether and how they may be asked.

``safety`` says which addresses may be gone to, ``dns`` finds them, ``limits`` gives turns at a host
and ``slots`` places among all requests.
"""
