"""What stands between the loader and a training framework: packing into sequences, plug-ins, exports."""
