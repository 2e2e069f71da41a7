"""Sends images, from layouts or from another hub, to hubs as one release. Builds nothing.

Content goes first, by digest, then the tags move, then all is looked at again.
"""
