"""Files over FTP.

``client`` brings one file, over attempts; ``session`` is the conversation with a server, over the
``control`` connection; ``causes`` says what replies mean, and ``urls`` what a URL names.
"""
