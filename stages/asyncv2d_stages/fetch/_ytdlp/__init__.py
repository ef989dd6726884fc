"""Videos of web pages, by yt-dlp.

``claims`` knows whose URLs are pages of a site, ``sites`` paces what is asked of it, ``pool`` lends
processes, and ``worker`` is what they do, with the YoutubeDL that is ``kept`` there. All that it
asks for goes past ``guard``, ``answers`` and ``bounds``; ``pace`` ends what comes too slowly, and
``given_up`` remembers why yt-dlp did.
"""
