"""Network files as ONNX and QONNX, which other tools show, run and check, and QONNX models as network files
(docs/interchange.md).

:mod:`~sysmol.interchange.onnx_out` and :mod:`~sysmol.interchange.qonnx_out` write models,
:mod:`~sysmol.interchange.evaluation` runs the first kind in onnxruntime: the fast way to the logits of a test set.
:mod:`~sysmol.interchange.qonnx_in` maps integers exactly; models of real numbers are read by
:mod:`sysmol.train.frontend.readers`.
"""
