"""What a vector is and how to compute one.

Everything public is here by name; each name is imported when it is first used, so that importing
this package costs next to nothing and loads no heavy library.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .appended import Appended as Appended
    from .backbone import load_language_model as load_language_model
    from .batching import pad as pad
    from .bundle import BUNDLE_FORMAT as BUNDLE_FORMAT
    from .bundle import CERTIFICATE as CERTIFICATE
    from .bundle import MANIFEST as MANIFEST
    from .bundle import REFERENCE as REFERENCE
    from .bundle import Bundle as Bundle
    from .bundle import Golden as Golden
    from .bundle import Manifest as Manifest
    from .bundle import decant_version as decant_version
    from .bundle import read_manifest as read_manifest
    from .bundle import write_atomically as write_atomically
    from .calibration import CALIBRATION as CALIBRATION
    from .calibration import Calibrations as Calibrations
    from .calibration import read_calibrations as read_calibrations
    from .calibrator import calibrate as calibrate
    from .certificate import NEIGHBOURS as NEIGHBOURS
    from .certificate import Certificate as Certificate
    from .certificate import Check as Check
    from .certificate import Entry as Entry
    from .certificate import Precision as Precision
    from .certificate import TaskScore as TaskScore
    from .choices import Choices as Choices
    from .collating import DENSE as DENSE
    from .collating import PRESENT as PRESENT
    from .collating import PROMPT as PROMPT
    from .collating import PROMPT_ROWS as PROMPT_ROWS
    from .collating import SPARSE as SPARSE
    from .collating import STATES as STATES
    from .collating import TOKENS as TOKENS
    from .conversing import chat_template as chat_template
    from .conversing import conversation as conversation
    from .doctor import diagnose as diagnose
    from .encoder import Encoder as Encoder
    from .encoder import Output as Output
    from .encoder import Progress as Progress
    from .encoder import Vectors as Vectors
    from .errors import BundleError as BundleError
    from .errors import CollectionMismatch as CollectionMismatch
    from .errors import DecantError as DecantError
    from .errors import ExplanationError as ExplanationError
    from .errors import MissingExtra as MissingExtra
    from .errors import ParityError as ParityError
    from .errors import ProviderError as ProviderError
    from .errors import QuantizationError as QuantizationError
    from .errors import RecipeError as RecipeError
    from .errors import StoreError as StoreError
    from .errors import TextError as TextError
    from .errors import need as need
    from .explaining import Explainer as Explainer
    from .explaining import Explanation as Explanation
    from .finding import Diagnosis as Diagnosis
    from .finding import Finding as Finding
    from .finding import Health as Health
    from .forking import renew_after_fork as renew_after_fork
    from .fresh_folders import folder_beside as folder_beside
    from .fresh_folders import fresh_folder as fresh_folder
    from .fresh_folders import full_disk_told as full_disk_told
    from .hash_encoder import HashEncoder as HashEncoder
    from .in_context import Example as Example
    from .in_context import in_context_query as in_context_query
    from .intervention import Contrast as Contrast
    from .intervention import Prepending as Prepending
    from .jsonio import overlaid as overlaid
    from .jsonio import read_object as read_object
    from .jsonio import to_json as to_json
    from .kinds import Activation as Activation
    from .kinds import Attention as Attention
    from .kinds import Pooling as Pooling
    from .kinds import Span as Span
    from .known_strategies import find_strategy as find_strategy
    from .known_strategies import strategies as strategies
    from .layer_mix import LayerMix as LayerMix
    from .lexicon import Lexicon as Lexicon
    from .lexicon import Weighting as Weighting
    from .machine import peak_memory_mb as peak_memory_mb
    from .machine import processor as processor
    from .members import member as member
    from .onnx_encoder import OnnxEncoder as OnnxEncoder
    from .onnx_encoder import load as load
    from .onnx_file import BLOCK_OPERATORS as BLOCK_OPERATORS
    from .onnx_file import INTEGER_OPERATORS as INTEGER_OPERATORS
    from .onnx_session import Session as Session
    from .onnx_session import candidates as candidates
    from .onnx_session import installed_providers as installed_providers
    from .onnx_session import placement as placement
    from .onnx_session import provider_name as provider_name
    from .positions import first_position as first_position
    from .positions import uncounted_id as uncounted_id
    from .prompt import Prompt as Prompt
    from .prompt import Role as Role
    from .prompt import Wording as Wording
    from .quantization import Calibration as Calibration
    from .quantization import Codes as Codes
    from .quantization import Quantization as Quantization
    from .quantization import Quantizer as Quantizer
    from .recipe import Dense as Dense
    from .recipe import Recipe as Recipe
    from .recipe_file import write_recipe as write_recipe
    from .resolution import pad_id as pad_id
    from .resolution import resolve as resolve
    from .runtime import Runtime as Runtime
    from .runtime import available_cores as available_cores
    from .sentence_bundle import SENTENCE_FILES as SENTENCE_FILES
    from .sentence_bundle import prompt_text as prompt_text
    from .sentence_bundle import sentence_prompts as sentence_prompts
    from .sentence_bundle import write_sentence_files as write_sentence_files
    from .shared_prompts import SharedPrompts as SharedPrompts
    from .source import Source as Source
    from .source import file_hash as file_hash
    from .source import find_source as find_source
    from .spans import TokenEncoder as TokenEncoder
    from .spans import gives_parts as gives_parts
    from .spans import span_vectors as span_vectors
    from .sparse_vectors import SparseVectors as SparseVectors
    from .strategy import Shape as Shape
    from .strategy import Strategy as Strategy
    from .texts import checked as checked
    from .texts import is_blank as is_blank
    from .texts import is_unseen as is_unseen
    from .tokenizer_file import embedded as embedded
    from .tokenizer_file import load_text_tokenizer as load_text_tokenizer
    from .tokenizer_file import load_tokenizer as load_tokenizer
    from .tokenizer_file import read_tokenizer as read_tokenizer
    from .tokens import TextTokenizer as TextTokenizer
    from .tokens import TokenBatch as TokenBatch
    from .tokens import Tokens as Tokens
    from .torch_encoder import TorchEncoder as TorchEncoder
    from .torch_lexicon import lexical_head as lexical_head
    from .torch_loading import load_model as load_model
    from .torch_loading import make_head as make_head
    from .torch_loading import pooled_model as pooled_model
    from .torch_model import PooledModel as PooledModel
    from .torch_states import read_states as read_states
    from .tuner import TuningReport as TuningReport
    from .tuner import tune as tune
    from .tuning import TUNING as TUNING
    from .tuning import Tuned as Tuned
    from .tuning import Tuning as Tuning
    from .tuning import read_tuning as read_tuning
    from .weights import read_safetensors as read_safetensors

_PUBLIC = {
    "Activation": "kinds",
    "Appended": "appended",
    "Attention": "kinds",
    "Bundle": "bundle",
    "BundleError": "errors",
    "Calibration": "quantization",
    "Certificate": "certificate",
    "Check": "certificate",
    "Choices": "choices",
    "CollectionMismatch": "errors",
    "Contrast": "intervention",
    "DecantError": "errors",
    "Dense": "recipe",
    "Encoder": "encoder",
    "Entry": "certificate",
    "Example": "in_context",
    "Explainer": "explaining",
    "Explanation": "explaining",
    "ExplanationError": "errors",
    "HashEncoder": "hash_encoder",
    "LayerMix": "layer_mix",
    "Lexicon": "lexicon",
    "MissingExtra": "errors",
    "OnnxEncoder": "onnx_encoder",
    "Output": "encoder",
    "ParityError": "errors",
    "Pooling": "kinds",
    "Precision": "certificate",
    "Prepending": "intervention",
    "Progress": "encoder",
    "Prompt": "prompt",
    "ProviderError": "errors",
    "Quantization": "quantization",
    "QuantizationError": "errors",
    "Quantizer": "quantization",
    "Recipe": "recipe",
    "RecipeError": "errors",
    "Role": "prompt",
    "Runtime": "runtime",
    "Shape": "strategy",
    "SharedPrompts": "shared_prompts",
    "Source": "source",
    "Span": "kinds",
    "SparseVectors": "sparse_vectors",
    "StoreError": "errors",
    "Strategy": "strategy",
    "TextError": "errors",
    "TorchEncoder": "torch_encoder",
    "Vectors": "encoder",
    "Weighting": "lexicon",
    "Wording": "prompt",
    "calibrate": "calibrator",
    "find_source": "source",
    "find_strategy": "known_strategies",
    "in_context_query": "in_context",
    "load": "onnx_encoder",
    "resolve": "resolution",
    "span_vectors": "spans",
    "strategies": "known_strategies",
    "tune": "tuner",
}
# For decant's other folders; may change with any version.
_SHARED = {
    "BUNDLE_FORMAT": "bundle",
    "CALIBRATION": "calibration",
    "CERTIFICATE": "bundle",
    "Calibrations": "calibration",
    "Codes": "quantization",
    "Diagnosis": "finding",
    "Finding": "finding",
    "Golden": "bundle",
    "Health": "finding",
    "MANIFEST": "bundle",
    "REFERENCE": "bundle",
    "Manifest": "bundle",
    "PooledModel": "torch_model",
    "Session": "onnx_session",
    "DENSE": "collating",
    "PRESENT": "collating",
    "PROMPT": "collating",
    "PROMPT_ROWS": "collating",
    "BLOCK_OPERATORS": "onnx_file",
    "INTEGER_OPERATORS": "onnx_file",
    "NEIGHBOURS": "certificate",
    "SENTENCE_FILES": "sentence_bundle",
    "SPARSE": "collating",
    "STATES": "collating",
    "TOKENS": "collating",
    "TUNING": "tuning",
    "TaskScore": "certificate",
    "TextTokenizer": "tokens",
    "TokenBatch": "tokens",
    "TokenEncoder": "spans",
    "Tuned": "tuning",
    "Tuning": "tuning",
    "TuningReport": "tuner",
    "Tokens": "tokens",
    "available_cores": "runtime",
    "chat_template": "conversing",
    "conversation": "conversing",
    "candidates": "onnx_session",
    "decant_version": "bundle",
    "diagnose": "doctor",
    "checked": "texts",
    "is_blank": "texts",
    "is_unseen": "texts",
    "file_hash": "source",
    "first_position": "positions",
    "folder_beside": "fresh_folders",
    "fresh_folder": "fresh_folders",
    "full_disk_told": "fresh_folders",
    "gives_parts": "spans",
    "installed_providers": "onnx_session",
    "lexical_head": "torch_lexicon",
    "load_language_model": "backbone",
    "load_model": "torch_loading",
    "make_head": "torch_loading",
    "member": "members",
    "embedded": "tokenizer_file",
    "load_text_tokenizer": "tokenizer_file",
    "load_tokenizer": "tokenizer_file",
    "read_tokenizer": "tokenizer_file",
    "need": "errors",
    "overlaid": "jsonio",
    "read_object": "jsonio",
    "pad": "batching",
    "pad_id": "resolution",
    "peak_memory_mb": "machine",
    "placement": "onnx_session",
    "pooled_model": "torch_loading",
    "processor": "machine",
    "prompt_text": "sentence_bundle",
    "provider_name": "onnx_session",
    "read_calibrations": "calibration",
    "read_manifest": "bundle",
    "read_safetensors": "weights",
    "read_states": "torch_states",
    "read_tuning": "tuning",
    "renew_after_fork": "forking",
    "sentence_prompts": "sentence_bundle",
    "to_json": "jsonio",
    "uncounted_id": "positions",
    "write_atomically": "bundle",
    "write_recipe": "recipe_file",
    "write_sentence_files": "sentence_bundle",
}
_HOME = {**_PUBLIC, **_SHARED}

__all__ = sorted(_PUBLIC)  # noqa: PLE0605


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    if _HOME[name].startswith(("torch_", "explaining")):
        from .errors import need

        need("torch", extra="export")
        need("transformers", extra="export")
    value: object = getattr(import_module(f".{_HOME[name]}", __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOME})
