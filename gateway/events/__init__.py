"""Telling others what happened: follows the site's change log and delivers events to configured destinations."""
