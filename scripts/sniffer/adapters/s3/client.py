"""One bucket as boto3 reaches it: it resolves endpoint, region, addressing, TLS, proxies and credentials."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from botocore.config import Config
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    CredentialRetrievalError,
    FlexibleChecksumError,
    HTTPClientError,
    IncompleteReadError,
    MetadataRetrievalError,
    NoCredentialsError,
    ParamValidationError,
    PartialCredentialsError,
    SSLError,
    SSOError,
)
from botocore.exceptions import ConnectionError as NoConnection
from botocore.parsers import ResponseParserError

from sniffer.adapters.s3.bounds import BoundedSession
from sniffer.adapters.s3.errors import Reaction, Refusal
from sniffer.adapters.s3.roles import aws_session
from sniffer.core.errors import SettingsError, SnifferError, TransientError
from sniffer.core.redaction import KNOWN, without_password
from sniffer.core.retry import Retry, RetryLater, not_counted
from sniffer.core.text import one_line

_T = TypeVar("_T")

_CONNECT_TIMEOUT_S = 5.0
_READ_TIMEOUT_S = 30.0
_FIRST_PAUSE_S = 0.1
_LAST_PAUSE_S = 10.0
_PASSING = (
    NoConnection,
    FlexibleChecksumError,
    HTTPClientError,
    IncompleteReadError,
    ResponseParserError,
    CredentialRetrievalError,
    MetadataRetrievalError,
)


class BucketClient:
    """A boto3 client with the name of its bucket, and how its errors are met. May be used by many threads.

    `patience_s` bounds how long an S3 that fails for the moment is retried before giving up.
    """

    def __init__(
        self,
        name: str,
        *,
        patience_s: float,
        connections: int,
        requester_pays: bool,
        on_retry: Callable[[], None] = not_counted,
    ) -> None:
        self.name = name
        self.requester_pays = requester_pays
        self._patience_s = patience_s
        self._on_retry = on_retry
        try:
            config = Config(
                max_pool_connections=connections + 1,
                connect_timeout=_CONNECT_TIMEOUT_S,
                read_timeout=_READ_TIMEOUT_S,
                retries={"mode": "standard", "total_max_attempts": 2},
            )
            session = aws_session(config)
            self.s3: Any = session.client("s3", config=config, region_name=session.region_name or "us-east-1")
        except (BotoCoreError, ValueError) as error:
            raise SettingsError(f"S3: {one_line(error)}: check the AWS_* variables") from error
        # boto3 has no public name for it. It holds the proxies, the trusted certificates and the time limits.
        self.http = BoundedSession(self.s3._endpoint.http_session)
        self.s3._endpoint.http_session = self.http
        KNOWN.learn_url(self.s3.meta.endpoint_url)
        self.s3.meta.events.register("before-sign.s3", self._learn_credentials)

    def _learn_credentials(self, request_signer: Any, **_: object) -> None:
        """Whatever a request is signed with is a secret of this process: of a variable, a file, a role or a service."""
        # boto3 has no public name for it. Reading it costs nothing: the signature needs the same.
        credentials = request_signer._credentials
        if credentials is not None:
            frozen = credentials.get_frozen_credentials()
            KNOWN.renew(f"S3 {self.name}", frozen.secret_key, frozen.token)

    @property
    def place(self) -> str:
        """The bucket and its endpoint, for messages."""
        return f"bucket {self.name!r} at {without_password(self.s3.meta.endpoint_url)}"

    @property
    def is_directory(self) -> bool:
        """Whether it is a directory bucket (S3 Express), or an access point of one."""
        return self.name.endswith(("--x-s3", "--xa-s3"))

    @property
    def is_alias(self) -> bool:
        """Whether the name is an access point's, so that S3 may call the bucket otherwise."""
        return self.name.startswith("arn:") or self.name.endswith(("-s3alias", "--ol-s3", "--xa-s3"))

    @property
    def payer(self) -> dict[str, str]:
        """Parameter of every request that reads."""
        return {"RequestPayer": "requester"} if self.requester_pays else {}

    def patiently(self, call: Callable[[], _T]) -> _T:
        """What `call` returns; called again while S3 fails for the moment, or it raises RetryLater.

        Raises ClientError when S3 refuses, SettingsError when it would refuse everything, TransientError when the
        patience is over.
        """
        retry = Retry(
            f"S3 ({self.place})", "run again later", self._patience_s, _FIRST_PAUSE_S, _LAST_PAUSE_S, self._on_retry
        )
        return retry.call(lambda: self._attempt(call))

    def _attempt(self, call: Callable[[], _T]) -> _T:
        try:
            return call()
        except ClientError as error:
            refusal = Refusal.of(error)
            if refusal.reaction is Reaction.RETRY:
                raise RetryLater(str(refusal)) from error
            if refusal.reaction is Reaction.STOP or _is_about_credentials(error):
                raise self.explain(error) from error
            raise
        except _PASSING as error:
            raise RetryLater(one_line(error)) from error
        except BotoCoreError as error:
            raise self.explain(error) from error

    def whole_call(self, call: Callable[..., Any], **parameters: Any) -> Any:
        """What boto3 makes of S3's answer; raises RetryLater when it can make nothing of it, and as `call` does."""
        try:
            return call(Bucket=self.name, **parameters)
        except UnicodeError:
            raise  # of the request
        except (ValueError, OverflowError, RuntimeError) as error:  # numbers and moments that cannot be
            raise RetryLater(f"an answer that boto3 cannot read ({one_line(error)})") from error

    def explain(self, error: BotoCoreError | ClientError) -> SnifferError:
        """Why the bucket cannot be listed, and what to do."""
        if isinstance(error, ClientError):
            return self._explain_refusal(error)
        if isinstance(error, ParamValidationError):
            return SettingsError(f"{self.name!r} is not a bucket name: {one_line(error)}")
        if isinstance(error, NoCredentialsError | PartialCredentialsError):
            return SettingsError(
                f"no AWS credentials for {self.place}: set AWS_ACCESS_KEY_ID and its secret, or a role"
            )
        if isinstance(error, SSOError):
            return SettingsError(f"no AWS credentials for {self.place} ({one_line(error)})")
        if isinstance(error, SSLError):
            return TransientError(f"no TLS to {self.place} ({one_line(error)}): check AWS_CA_BUNDLE and the endpoint")
        if isinstance(error, _PASSING):
            return TransientError(
                f"cannot reach {self.place} ({one_line(error)}): check AWS_ENDPOINT_URL and the network"
            )
        return SettingsError(f"S3 cannot be used with {self.place} ({one_line(error)}): check the AWS_* variables")

    def _explain_refusal(self, error: ClientError) -> SnifferError:
        refusal = Refusal.of(error)
        if _is_about_credentials(error):
            return SettingsError(f"no AWS credentials for {self.place}: {error.operation_name} was refused ({refusal})")
        match refusal.reaction:
            case Reaction.STOP:
                return refusal.stopped(self.place)
            case Reaction.INACCESSIBLE:
                return SettingsError(
                    f"no permission to list {self.place} ({refusal}): the credentials need s3:ListBucket and "
                    "s3:GetObject"
                )
            case Reaction.RETRY:
                return TransientError(f"{self.place} does not answer ({refusal}): try again later")
            case _:
                return SettingsError(f"{self.place} cannot be listed ({refusal})")


def _is_about_credentials(error: ClientError) -> bool:
    """Whether it is another service's, that was asked for credentials."""
    operation: str = error.operation_name
    return operation.startswith(("AssumeRole", "GetRoleCredentials", "GetSessionToken"))
