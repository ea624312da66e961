"""What runs user code: a process of its own, in the code's own environment.

Only the standard library is used here, and only relative imports: the same files run inside byom (as
``byom.host.worker``) and, started by path (``start.py``), in an environment that has never heard of byom, under
any Python from 3.9 on.
"""
