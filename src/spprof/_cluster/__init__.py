"""One profile of a program and of the workers that it has elsewhere.

Rests on the session and on the container format; each engine that runs workers is a file of its
own, and imports nothing of it but what its user has imported already.
"""
