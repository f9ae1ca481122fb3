"""gunicorn's way in: `gunicorn -c config/gunicorn.conf.py wsgi:app`."""

from proxy.app import create_app

app = create_app()
