"""The developer's runtime behind `make`: environment, embedded servers, supervisor, test run.

Standard library only, because its first lines run before there is a virtual environment.
"""
