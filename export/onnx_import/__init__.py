"""Make graphs of other tools into graphs of ours."""
