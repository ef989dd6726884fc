"""What is kept of hosts: whether and how they may be asked.

``safety`` says which addresses may be gone to, ``dns`` finds them, ``host`` is how one host does,
``limits`` gives turns at it and ``slots`` places among all requests.
"""
