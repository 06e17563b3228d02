"""The application in the browser and its API; needs the extra `web`.

Promise: one process, one writer; the model is used by one thread only; nothing is changed without a
confirmed proposal and a password.

    app = create_app(Settings(folder))          # cli.web.app
"""
