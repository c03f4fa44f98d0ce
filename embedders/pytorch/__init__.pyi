from .appended_states import read_states as read_states
from .backbone import load_language_model as load_language_model
from .load import load_model as load_model
from .load import make_head as make_head
from .load import pooled_model as pooled_model
from .model import PooledModel as PooledModel
from .sparse_head import LexicalHead as LexicalHead
from .sparse_head import lexical_head as lexical_head
