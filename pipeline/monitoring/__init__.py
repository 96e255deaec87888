"""Scored days and the training of the version that scored them in; how far they lie apart out.

In: scored batches and a Detector, or feature tables of two periods. Out: checks of the watch with their states,
profiles of days beside a batch's scores, and a drift index a feature, worst first. Called by selection,
pages and flows.
"""
