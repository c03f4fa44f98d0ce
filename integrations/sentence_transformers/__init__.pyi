from .module import BundleModule as BundleModule
