"""The composition root: settings, set-up, the embedded stack, the web application and the commands."""
