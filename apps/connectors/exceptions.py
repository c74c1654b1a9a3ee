"""What can go wrong between the portal and a system. Codes are stable; messages say what to do next."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from apps.core.exceptions import Conflict, NotFound, TerminalError, TooLarge, TransientError, ValidationFailed


class ConnectorFailed(TerminalError):
    """The system refused the request."""

    code = "connectors.failed"


class SystemUnavailable(TransientError):
    """The system cannot be reached at the moment."""

    code = "connectors.unavailable"
    default_remedy = "Check that the system is running and reachable from the portal; the run can be resumed."


class TransactionConflict(SystemUnavailable):
    """The system rolled a transaction back for the sake of another one."""

    code = "connectors.transaction_conflict"
    default_remedy = "Nothing to do: the call is repeated. If it happens often, load at another time of day."


class CircuitOpen(TransientError):
    """The system failed several times in a row, so it is left alone for a while."""

    code = "connectors.circuit_open"
    default_remedy = "Wait until the next attempt, or mend the system and choose Try now on the connection's page."

    def __init__(self, message: str, *, connection_id: UUID, until: datetime, retry_after_s: int) -> None:
        """Say of which connection, and until when.

        Args:
            message: sentence for the reader.
            connection_id: the connection.
            until: when the next call may be let through, by the database's clock.
            retry_after_s: the same as whole seconds from now, at least 1.
        """
        super().__init__(
            message, connection_id=str(connection_id), until=until.isoformat(), retry_after_s=retry_after_s
        )
        self.connection_id = connection_id
        self.until = until


class CircuitInvalid(ValidationFailed):
    """The settings of the circuit breaker have problems."""

    code = "connectors.circuit_invalid"


class HostUnknown(TerminalError):
    """The host name does not resolve to an address."""

    code = "connectors.host_unknown"
    default_remedy = "Check the spelling of the host name."


class CredentialsRefused(TerminalError):
    """The system refused the credentials."""

    code = "connectors.credentials_refused"
    default_remedy = "Enter the user name and password again; check that the account is not locked."


class TlsFailed(TerminalError):
    """The encrypted connection could not be established."""

    code = "connectors.tls_failed"
    default_remedy = "Check the TLS mode and the certificate of the system."


class EntityGone(TerminalError):
    """The entity no longer exists in the system, or it is no longer readable."""

    code = "connectors.entity_gone"
    default_remedy = "Check whether it was renamed, dropped or its rights were revoked, then change the flow's source."


class ColumnGone(TerminalError):
    """A column that the flow reads no longer exists."""

    code = "connectors.column_gone"
    default_remedy = "Open the flow and map the column's successor, or restore the column in the source."


class SchemaChanged(TerminalError):
    """The structure of the entity changed in a way that the load may not follow."""

    code = "connectors.schema_changed"
    default_remedy = "Review the change in the flow's data contract."


class SnapshotGone(TransientError):
    """The consistent snapshot of the source was closed before the partition was read."""

    code = "connectors.snapshot_gone"
    default_remedy = "Start the load again; it opens a new snapshot."


class UnreadableInput(TerminalError):
    """The file or response cannot be read."""

    code = "connectors.unreadable_input"


class EmptyExtract(TerminalError):
    """The extract has no rows, so the target was left as it is."""

    code = "connectors.empty_extract"
    default_remedy = "If the source is meant to be empty, allow an empty extract in the flow's load settings."


class DuplicateKeys(TerminalError):
    """Several rows of one load have the same key."""

    code = "connectors.duplicate_keys"
    default_remedy = "Choose keys that identify a row, or let the load quarantine duplicates."


class OutOfSpace(TerminalError):
    """The disk is full."""

    code = "connectors.out_of_space"
    status = 507
    default_remedy = "Free space or enlarge the disk, then resume the run; nothing was changed in the target."


class WriteRefused(TerminalError):
    """The target refused the rows."""

    code = "connectors.write_refused"


class NotSupported(TerminalError):
    """The connector does not offer this operation."""

    code = "connectors.not_supported"


class ManifestInvalid(TerminalError):
    """A connector's manifest is broken."""

    code = "connectors.manifest_invalid"
    status = 500


class ConfigInvalid(ValidationFailed):
    """The connection's settings have problems."""

    code = "connectors.config_invalid"


class ConnectionNotFound(NotFound):
    """There is no such connection."""

    code = "connectors.connection_not_found"


class ConnectionProtected(Conflict):
    """This connection belongs to the portal and cannot be changed."""

    code = "connectors.connection_protected"
    default_remedy = "Create a connection of your own instead."


class SecretsNeeded(ConfigInvalid):
    """The address changed, so the credentials have to be entered again."""

    code = "connectors.secrets_needed"
    default_remedy = "Enter them again, so that stored ones are never sent to another system."


class NameTaken(Conflict):
    """Another connection has this name."""

    code = "connectors.name_taken"
    default_remedy = "Choose another name."


class UploadTooLarge(TooLarge):
    """The file is larger than an upload may be."""

    code = "connectors.upload_too_large"
    default_remedy = "Compress it with gzip, split it, or place it in the tenant's folder or an object store."


class UploadRefused(ValidationFailed):
    """The uploaded file was refused."""

    code = "connectors.upload_refused"


class StagingLost(TransientError):
    """A staged part is no longer as it was reported."""

    code = "connectors.staging_lost"
    default_remedy = "Stage the part again; the run does this by itself when it is resumed."


class StagingSuperseded(TransientError):
    """Another worker took over this part."""

    code = "connectors.staging_superseded"
    default_remedy = "Nothing to do: the other worker's rows count."


class TargetBusy(TransientError):
    """Other sessions keep the target locked."""

    code = "connectors.target_busy"
    default_remedy = "Wait until long-running queries on the table have ended, then resume the run."


class CaptureNotFound(NotFound):
    """There is no such change capture."""

    code = "connectors.capture_not_found"


class CaptureRefused(ValidationFailed):
    """The database is not ready for change capture."""

    code = "connectors.capture_refused"
    default_remedy = "Let the database's administrator run the statements that are named, then try again."


class CaptureBusy(Conflict):
    """The change capture is in another state."""

    code = "connectors.capture_state"
    default_remedy = "Reload it and look at its state."


class CaptureLimit(Conflict):
    """No more change captures are allowed."""

    code = "connectors.capture_limit"
    default_remedy = "Delete one that is no longer needed, or add the tables to an existing one."


class ConnectionInUse(Conflict):
    """Change captures use this connection."""

    code = "connectors.connection_in_use"
    default_remedy = (
        "Delete its change captures first: without the connection their slots would fill the source's disk."
    )


class CaptureStreamInvalid(TerminalError):
    """The change stream cannot be read."""

    code = "connectors.capture_stream_invalid"


class CaptureBroken(TerminalError):
    """The capture cannot go on where it was; only a restart helps."""

    code = "connectors.capture_broken"


class CaptureSlotLost(CaptureBroken):
    """The replication slot is gone, and with it changes that were not captured."""

    code = "connectors.capture_slot_lost"
    default_remedy = "Restart the capture: it makes a new slot and reads every table again."


class CaptureSlotDropped(CaptureBroken):
    """The disk guard dropped the replication slot, so that the source's disk does not fill up."""

    code = "connectors.capture_slot_dropped"
    default_remedy = "Find out why the capture fell behind, then restart it: it reads every table again."


class CaptureGap(CaptureBroken):
    """The replication slot is ahead of what was captured: changes are missing."""

    code = "connectors.capture_gap"
    default_remedy = "Let nothing else read or move this slot; restart the capture: it reads every table again."


class CaptureOtherServer(CaptureBroken):
    """The connection leads to another database server than the capture began with."""

    code = "connectors.capture_other_server"
    default_remedy = "Correct the connection, or restart the capture: it reads every table of the new server."


class CaptureKeyChanged(CaptureBroken):
    """The key of a captured table changed."""

    code = "connectors.capture_key_changed"
    default_remedy = "Restart the capture: it takes the new key and reads every table again."


class CaptureTruncated(CaptureBroken):
    """A table was emptied while its first snapshot was being resumed."""

    code = "connectors.capture_truncated"
    default_remedy = "Restart the capture: it reads every table again."
