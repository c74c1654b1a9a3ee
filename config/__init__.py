"""Composition root: settings, URLs, ASGI, Celery, runtime. Apps never import it.

Kept free of imports: `config.runtime.bootstrap` runs on a bare Python before anything is installed.
"""
