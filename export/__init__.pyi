from .converter import convert as convert
from .exporter import export as export
from .sealer import seal as seal
from .verifier import verify as verify
