"""Turn graphs of other tools into graphs of decant."""
