from .address import API_KEY as API_KEY
from .address import is_address as is_address
from .vector_archive import pack_vectors as pack_vectors
from .wire import PROTOCOL as PROTOCOL
from .wire import EncoderFacts as EncoderFacts
from .wire import GoldenVector as GoldenVector
from .wire import Refusal as Refusal
from .wire import RequestLimits as RequestLimits
