from .chat_templates import chat_template as chat_template
from .chat_templates import conversation as conversation
from .positions import first_position as first_position
from .positions import uncounted_id as uncounted_id
from .recipe_file import write_recipe as write_recipe
from .resolver import pad_id as pad_id
from .weight_files import read_safetensors as read_safetensors
