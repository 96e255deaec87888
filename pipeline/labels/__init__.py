"""What is known of a row, and since when.

In: the table's own labels and those from review, and a moment. Out: 1 fraud, 0 normal or NaN, as of that moment.
Called by features, detector, evaluation, selection and flows: whoever uses a label asks here.
"""
