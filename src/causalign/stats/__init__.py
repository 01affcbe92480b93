"""Arithmetic of arrays: functions of numpy arrays that return small frozen dataclasses."""
