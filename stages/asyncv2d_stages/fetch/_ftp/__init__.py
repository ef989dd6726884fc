"""Files over FTP.

``get`` gets one file; ``session`` is the conversation with a server, over the ``control``
connection; ``causes`` says what replies mean.
"""
