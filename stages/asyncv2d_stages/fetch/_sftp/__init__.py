"""Files over SFTP: ``get`` gets one, ``reads`` reads it, ``causes`` says what went wrong."""
