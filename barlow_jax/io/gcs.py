"""Google Cloud Storage for fsspec: gcsfs with the errors of a disk."""

import errno
import logging
import os
from typing import Any

import aiohttp
from etils.epath import gpath
from fsspec.asyn import sync_wrapper
from gcsfs.core import GCSFileSystem
from gcsfs.retry import ChecksumError, HttpError
from google.auth.exceptions import GoogleAuthError

from barlow_jax.errors import first_line

_logger = logging.getLogger("gcsfs")  # it logs each error, with a traceback, that it also raises
_logger.addHandler(logging.NullHandler())
_logger.propagate = False


class FileSystem(GCSFileSystem):
    """gcsfs, which retries failed requests for about half a minute; what fails then raises OSError."""

    def __init__(self, *args: Any, **kwargs: Any):
        """Keep no listings, which other processes change."""
        # From now on etils' paths of buckets, which Orbax and TFDS use, are served by this class too, and not
        # by TensorFlow; etils may have chosen before.
        os.environ.setdefault("EPATH_USE_TF", "false")
        getattr(getattr(gpath, "_is_tf_installed", None), "cache_clear", lambda: None)()
        super().__init__(*args, **{"use_listings_cache": False} | kwargs)

    def check_bucket(self, name: str) -> None:
        """Raise FileNotFoundError if a bucket does not exist, or OSError if its objects cannot be listed."""
        self.call("GET", "b/{}/o", name, maxResults=1)

    async def _call(self, *args: Any, **kwargs: Any) -> Any:
        try:
            return await super()._call(*args, **kwargs)
        except GoogleAuthError as error:
            remedy = "run `gcloud auth application-default login`"
            raise PermissionError(errno.EACCES, f"Google Cloud Storage: {error}; {remedy}") from error
        except (HttpError, ChecksumError, aiohttp.ClientError, ValueError) as error:
            raise OSError(errno.EIO, f"Google Cloud Storage: {first_line(error)}") from error

    call = sync_wrapper(_call)
