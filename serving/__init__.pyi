from .errors import KeyRefused as KeyRefused
from .errors import NotJson as NotJson
from .errors import Overloaded as Overloaded
from .errors import RequestError as RequestError
from .errors import RequestTooLarge as RequestTooLarge
from .errors import ServerStopping as ServerStopping
from .errors import SettingsError as SettingsError
from .work.work_queue import QueueSettings as QueueSettings
