INTENTS = r"""
code: How do I merge two dictionaries in {x}?
x = Python / Ruby # entity
p In {x}, what is the way to make one dictionary of a pair of dictionaries?
s How can I combine two dictionaries in {x}?
r In {x}, how do I merge two dictionaries?
- antonym: How do I split a dictionary into two in {x}?
- constraint: How do I merge two dictionaries in {x} without overwriting keys?
- quantity: How do I merge a whole list of dictionaries in {x}?
- negation: How do I find keys that two dictionaries do not share in {x}?
- topic: How do I compare two dictionaries in {x}?
- entity: How do I merge two sorted lists in {x}?

code: What does `{x}` evaluate to in Python 3?
x = 7 // 2 / 7 % 2 / 7 ** 2 / -7 // 2 # code
p If I type `{x}` into Python 3, what do I get?
s What is the value of `{x}` in Python 3?
r In Python 3, what does `{x}` evaluate to?
- negation: What does `not {x}` evaluate to in Python 3?
- modality: What type can the operands of `{x}` have in Python 3?
- code: What does `({x}) + 1` evaluate to in Python 3?

code: What is the difference between `{x}` and `{y}` in Python?
x = == / append / copy.copy / sorted # code
y = is / extend / copy.deepcopy / list.sort
p In Python, how do `{x}` and `{y}` differ?
s What distinguishes `{x}` from `{y}` in Python?
r In Python, what is the difference between `{x}` and `{y}`?
- modality: Should a beginner learn `{x}` or `{y}` first in Python?
- antonym: What do `{x}` and `{y}` have in common in Python?
- scope: What does `{x}` alone do in Python, without `{y}`?
- topic: What is the difference in speed between `{x}` and `{y}` in Python?
- negation: Is there a case in Python where it does not matter whether I use `{x}` or `{y}`?

code: How do I get the {x} item of a Python list?
x = first / last / largest # scope
p I have a Python list. What expression gives me its {x} item?
s How can I obtain the {x} element of a Python list?
r From a Python list, how do I get the {x} item?
- negation: How do I get all items but the {x} one of a Python list?
- antonym: How do I remove the {x} item of a Python list?
- entity: How do I get the {x} line of a text file in Python?
- quantity: How do I get the {x} item of each of several Python lists?
- constraint: How do I get the {x} item of a Python list that may be empty?
- number: How do I get the {x} three items of a Python list?

code: How do I parse a date like `{x}` in Python?
x = 2024-05-06 / 06.05.2024 / 05/06/24 # date
p What Python code reads a date that is written like `{x}`?
s How can I convert a string like `{x}` to a date in Python?
r In Python, how do I parse a date like `{x}`?
- antonym: How do I print a date like `{x}` in Python?
- entity: How do I parse a date like `{x}` in Go?
- negation: How do I tell in Python that a text is not a date like `{x}`?
- unit: How do I turn a date like `{x}` into seconds since 1970 in Python?
- quantity: How do I parse a column of a million dates like `{x}` in Python?
- scope: How do I get only the month of a date like `{x}` in Python?

code: How do I create a virtual environment with Python {x}?
x = 3.9 / 3.11 / 3.13 # number
p What command makes a virtual environment that uses Python {x}?
s How can I set up a virtual environment with Python {x}?
r With Python {x}, how do I create a virtual environment?
- antonym: How do I delete a virtual environment with Python {x}?
- topic: How do I activate a virtual environment with Python {x}?
- constraint: How do I create a virtual environment with Python {x} without pip?
- modality: Do I have to create a virtual environment with Python {x}?
- scope: How do I create a virtual environment with any Python at or above {x}?

code: How do I {x} a list of dictionaries to a CSV file in Python?
x = write / append # antonym
p In Python I have a list of dictionaries. How do I {x} it to a CSV file?
s How can I {x} a list of dicts to a CSV file in Python?
r In Python, how do I {x} a list of dictionaries to a CSV file?
- swap: How do I read a CSV file into a list of dictionaries in Python?
- entity: How do I {x} a list of dictionaries to an Excel file in Python?
- constraint: How do I {x} a list of dictionaries to a CSV file in Python with semicolons?
- negation: Why does Python not {x} my list of dictionaries to a CSV file?
- scope: How do I {x} only the first dictionary of a list to a CSV file in Python?

code: Why is a mutable default argument a problem in Python?
p What goes wrong in Python if a parameter's default is a mutable object?
s Why are mutable default arguments problematic in Python?
r In Python, why is a mutable default argument a problem?
- antonym: Why is an immutable default argument no problem in Python?
- modality: When may a mutable default argument be used in Python?
- entity: Why is a mutable class attribute a problem in Python?
- negation: Why is a mutable default argument not a problem in JavaScript?
- topic: Who designed default arguments in Python?

code: How do I time a Python function in {x}?
x = seconds / milliseconds / nanoseconds # unit
p I'd like to know how long a Python function runs, in {x}. How do I find out?
s How can I measure the run time of a Python function in {x}?
r In {x}, how do I time a Python function?
- negation: How do I keep a Python function from running longer than a few {x}?
- scope: How do I time only the slowest line of a Python function in {x}?
- topic: How do I delay a Python function by some {x}?
< constraint: How do I time an async Python function in {x}?
- entity: How do I time a Python import in {x}?
- quantity: How do I average the time of a thousand calls of a Python function in {x}?

code: How do I make a Python class {x}?
x = iterable / hashable / callable # topic
p What must a Python class define so that its objects are {x}?
s What do I have to implement to make a Python class {x}?
- antonym: How do I stop a Python class from being {x}?
- entity: How do I make a Ruby class {x}?
- modality: Should a Python class be {x}?
- negation: Why is my Python class not {x}?
- subject: How do I check that somebody else's Python object is {x}?

code: How do I remove {x} spaces from a string in Python?
x = leading / trailing / inner # scope
p In Python, what gets rid of the {x} spaces of a string?
s How can I strip the {x} spaces from a string in Python?
r From a string in Python, how do I remove {x} spaces?
- antonym: How do I add {x} spaces to a string in Python?
- negation: How do I remove everything but the {x} spaces from a string in Python?
- topic: How do I count {x} spaces in a string in Python?
- quantity: How do I remove {x} spaces from a list of strings in Python?
- entity: How do I remove {x} zeros from a string in Python?
"""
