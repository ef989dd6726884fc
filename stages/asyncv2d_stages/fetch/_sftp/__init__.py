"""Files over SFTP: ``get`` gets one, ``causes`` says what went wrong."""
