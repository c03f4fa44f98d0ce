from .diagnosis import diagnose as diagnose
from .findings import Diagnosis as Diagnosis
from .findings import Finding as Finding
from .findings import Health as Health
