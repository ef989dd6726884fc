"""Bodies over HTTP.

``client`` brings one body, over redirects and attempts; ``exchange`` makes one request;
``transfer`` is the body on its way in, and ``body`` knows what its bytes are.
"""
