"""Assay's stages: plain functions and small classes, one stage a file. Imports without Prefect."""
