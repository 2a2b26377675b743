"""Readers that turn outside data into a :class:`~collectopt.schema.Ledger`.

=================  ============================================================================
:mod:`~.fines`     road traffic fines of an Italian municipality: a real dunning process
:mod:`~.ibm_ar`    IBM's sample of late invoices: looks synthetic, good for demonstrations
=================  ============================================================================

Public data sets are found through the environment variable ``COLLECTOPT_DATA``: a folder with
one folder for each of them.
"""

from collectopt._lazy import attach

__getattr__, __dir__, __all__ = attach(__name__, {"fines": ".fines", "ibm_ar": ".ibm_ar"})
