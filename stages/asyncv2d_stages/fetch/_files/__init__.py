"""Files of servers with which one has a conversation, as over FTP and SFTP.

``client`` brings one file, over attempts; ``deadlines`` says how long each step may take, and
``urls`` what a URL names.
"""
