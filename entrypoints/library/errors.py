"""`litgpt.errors`: every error that this library raises on purpose.

LitGPTError
├── InvalidArgument (ValueError)           an argument is not valid
│   ├── WrongType (TypeError)              an argument has the wrong type
│   ├── MissingArgument                    a required argument is missing
│   └── UnknownSetting                     a setting of a training run does not exist
├── PromptTooLong (ValueError)             the prompt is longer than the model's context
│   └── TextTooLong                        a text to be scored or embedded is
├── InvalidBatchLine (ValueError)          a line of a batch file is not a request
├── InvalidCall (TypeError)                a call does not fit the signature
├── ModelNotFound (FileNotFoundError)      the model was not found
├── NotInstalled (ImportError)             a package is missing; the message has the command
├── AccessDenied (PermissionError)         the Hub requires a token or an accepted license
├── HubUnreachable (ConnectionError)       the Hub did not answer, or offline mode is on
├── InvalidCheckpoint                      the files exist, but cannot be used
│   ├── MissingFile (FileNotFoundError)    a file is missing
│   ├── CorruptFile                        a file is truncated or inconsistent
│   ├── UnsafeFile                         the only weights are a pickle, which can execute code
│   ├── CheckpointMismatch                 tensors are missing, unexpected or of the wrong shape
│   │   └── TrainerCheckpointMismatch      the same for a Trainer checkpoint
│   └── TokenizerMismatch                  the tokenizer is missing or belongs to another model
├── UnsupportedModel (NotImplementedError) the model family, or one of its settings, is not implemented
├── UnsupportedPrompt (ValueError)         the prompt style does not support the messages
├── InvalidData (ValueError)               a record or a data set cannot be used
├── DataNotFound (FileNotFoundError)       the data set was not found
├── DataModuleNotConnected (RuntimeError)  a data module has no tokenizer
├── NotDistributed (AttributeError)        the model is not on a device yet
├── UnsupportedOperation (RuntimeError)    the operation is not possible
│   ├── HardwareUnavailable                a device does not exist
│   └── InsufficientSpace                  there is not enough memory or disk space
├── WouldOverwrite (FileExistsError)       a folder holds another model or run
├── NonFiniteLogits (FloatingPointError)   logits are not finite
├── AllTokensExcluded (ValueError)         the sampling options leave no token
├── ConstraintFailed (RuntimeError)        a schema, regex or grammar cannot be followed any further
├── IncompleteAnswer (ValueError)          an answer does not have the form that was asked for
├── ModelBusy (RuntimeError)               the model is generating and cannot be changed
├── TooManyToolRounds (RuntimeError)       the model went on to call tools until the limit
├── WeightsReplaced (RuntimeError)         the weights changed during an answer
├── ModelClosed (RuntimeError)             the model of a stream was closed
├── WorkerLost (RuntimeError)              a worker process ended
└── WorkerFailed (RuntimeError)            a worker process could not finish a step
"""

from litgpt.domain.errors import (
    AccessDenied,
    CheckpointMismatch,
    CorruptFile,
    HardwareUnavailable,
    HubUnreachable,
    InsufficientSpace,
    InvalidArgument,
    InvalidCheckpoint,
    LitGPTError,
    MissingArgument,
    MissingFile,
    ModelNotFound,
    NotDistributed,
    NotInstalled,
    PromptTooLong,
    TextTooLong,
    TokenizerMismatch,
    UnsafeFile,
    UnsupportedModel,
    UnsupportedOperation,
    UnsupportedPrompt,
    WrongType,
)
from litgpt.domain.generation.errors import (
    AllTokensExcluded,
    ConstraintFailed,
    IncompleteAnswer,
    InvalidBatchLine,
    ModelBusy,
    ModelClosed,
    NonFiniteLogits,
    TooManyToolRounds,
    WeightsReplaced,
    WorkerFailed,
    WorkerLost,
)
from litgpt.domain.overwrite_check import WouldOverwrite
from litgpt.domain.training.errors import (
    DataModuleNotConnected,
    DataNotFound,
    InvalidData,
    TrainerCheckpointMismatch,
    UnknownSetting,
)
from litgpt.domain.validation.call_signatures import InvalidCall

__all__ = [
    "AccessDenied",
    "AllTokensExcluded",
    "CheckpointMismatch",
    "ConstraintFailed",
    "CorruptFile",
    "DataModuleNotConnected",
    "DataNotFound",
    "HardwareUnavailable",
    "HubUnreachable",
    "IncompleteAnswer",
    "InsufficientSpace",
    "InvalidArgument",
    "InvalidBatchLine",
    "InvalidCall",
    "InvalidCheckpoint",
    "InvalidData",
    "LitGPTError",
    "MissingArgument",
    "MissingFile",
    "ModelBusy",
    "ModelClosed",
    "ModelNotFound",
    "NonFiniteLogits",
    "NotDistributed",
    "NotInstalled",
    "PromptTooLong",
    "TextTooLong",
    "TokenizerMismatch",
    "TooManyToolRounds",
    "TrainerCheckpointMismatch",
    "UnknownSetting",
    "UnsafeFile",
    "UnsupportedModel",
    "UnsupportedOperation",
    "UnsupportedPrompt",
    "WeightsReplaced",
    "WorkerFailed",
    "WorkerLost",
    "WouldOverwrite",
    "WrongType",
]
