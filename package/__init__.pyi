from . import embedders as embedders
from . import evaluation as evaluation
from . import export as export
from . import integrations as integrations
from . import serving as serving
from . import training as training
from .embedders import DecantError as DecantError
from .embedders import HashEncoder as HashEncoder
from .embedders import Recipe as Recipe
from .embedders import Role as Role
from .embedders import load as load
from .integrations.qdrant import Collection as Collection
from .integrations.qdrant import Document as Document
from .integrations.qdrant import Record as Record
from .integrations.qdrant import connect as connect
from .integrations.qdrant import read_documents as read_documents

__version__: str
