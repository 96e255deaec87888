"""The desk in the browser: a page a file in views/, what stands before every page beside it.

In: a `Desk`. Out: a web application, and the server that it runs in. Called by flows.
"""
