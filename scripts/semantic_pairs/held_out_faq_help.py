INTENTS = r"""
faq: The VPN disconnects every {x}. How can I fix that?
x = few minutes / few seconds
p What can I do about a VPN connection that drops every {x}?
s The VPN drops every {x}. How can I repair that?
r How can I fix the VPN? It disconnects every {x}.
- antonym: The VPN reconnects every {x}. How can I stop that?
- entity: The headset disconnects every {x}. How can I fix that?
- scope: The VPN disconnected once, after a {x}. How can I fix that?
- negation: The VPN does not disconnect even after hours of doing nothing. How can I make it stop every {x}?
- date: The VPN disconnected every {x} last summer. How was that fixed?

faq: How do I set up work email on my {x}?
x = iPad / Android phone / Chromebook # entity
p I'd like to read my work email on my {x}. How do I configure it?
s How can I configure work mail on my {x}?
r On my {x}, how do I set up work email?
- antonym: How do I remove work email from my {x}?
- topic: How do I set up work calendars on my {x}?
- subject: How do I set up a new hire's work email on my {x}?
- constraint: How do I set up work email on my {x} without letting the company manage the device?
- scope: How do I set up only the inbox of my work email on my {x}?

faq: My password expires {x}. Can I change it now?
x = tonight / in a fortnight
p May I already set a new password, though the old one expires only {x}?
s My password runs out {x}. May I update it now?
r Can I change my password now, which expires {x}?
- negation: My password expires {x}. Can I keep it?
- topic: My certificate expires {x}. Can I change it now?
- subject: My secretary's password expires {x}. Can I change it now?
- modality: My password expires {x}. Must I change it now?
- antonym: My password expires {x}. Can I change it after that?

faq: The printer on the {x} floor prints only blank pages. How do I fix it?
x = ground / second / top
p How do I repair the printer on the {x} floor when all it puts out is empty pages?
s The printer on the {x} floor outputs nothing but empty pages. How can I repair it?
r How do I fix the printer on the {x} floor? It prints only blank pages.
- antonym: The printer on the {x} floor prints only black pages. How do I fix it?
- entity: The scanner on the {x} floor gives only blank pages. How do I fix it?
- negation: The printer on the {x} floor does not print at all. How do I fix it?
- scope: The printer on the {x} floor prints a blank page after every job. How do I fix it?

faq: How much storage does my mailbox have?
p What is the size limit of my mailbox?
s What is the storage capacity of my mailbox?
- subject: How much storage does a shared mailbox have?
- topic: How much storage does my laptop have?
- antonym: How much storage is my mailbox using up?
- scope: How much storage does the largest mail in my mailbox take?
- date: How much storage did my mailbox have before the upgrade?
- modality: How much storage can my mailbox have if I pay for more?

faq: Can I install {x} on my company laptop?
x = a game / a second browser / a VPN of my own # entity
p Do the rules let me put {x} on the laptop that the company gave me?
s May I set up {x} on my work laptop?
r On my company laptop, can I install {x}?
- negation: Why can I not install {x} on my company laptop?
- swap: Can the company install {x} on my own laptop?
- modality: Must I install {x} on my company laptop?
- antonym: Can I uninstall {x} from my company laptop?
- subject: Can a visitor install {x} on a company laptop?

faq: How do I share my screen in a meeting without showing notifications?
p In meetings I want to present my screen, but nobody should see my notifications. What do I do?
s How can I present my screen in a meeting without displaying notifications?
r Without showing notifications, how do I share my screen in a meeting?
- antonym: How do I see the notifications of a meeting without sharing my screen?
- scope: How do I share only one window in a meeting, with its notifications?
- entity: How do I share my camera in a meeting without showing my room?
- negation: How do I stop others from sharing their screen in a meeting?
- subject: How do I let a guest share a screen in a meeting without showing notifications of mine?

faq: I deleted a file by mistake {x} ago. Can it be restored?
x = twenty minutes / twenty days / twenty weeks # unit
p Is there a way to get back a file that I accidentally deleted {x} ago?
s I accidentally erased a file {x} ago. Can it be recovered?
r Can a file be restored that I deleted by mistake {x} ago?
- negation: I deleted a file on purpose {x} ago. How do I make sure that it cannot be restored?
- quantity: I deleted ten thousand files by mistake {x} ago. Can they be restored in one go?
- antonym: I restored a file by mistake {x} ago. Can it be deleted?
- entity: I deleted a chat by mistake {x} ago. Can it be restored?
- modality: I deleted a file by mistake {x} ago. Must it be restored by law?

faq: How do I keep my number when I switch to another phone company?
p I'm changing my phone company. What do I have to do so that my number stays the same?
s How can I retain my number when I change to a different phone provider?
r When I switch to another phone company, how do I keep my number?
- negation: How do I get a new number when I switch to another phone company?
- topic: How do I keep my voicemail when I switch to another phone company?
- swap: How do I keep my phone company when I switch to another number?
- entity: How do I keep my email address when I switch to another phone company?
- subject: How does my company keep its numbers when it switches to another carrier?
- modality: Can a phone company refuse to let me keep my number when I switch?

faq: What does a call from {x} to {y} cost per minute?
x = Austria / Japan / Chile # entity
y = Turkey / Korea / Mexico
p What is the price of a minute on the phone if I call {y} from {x}?
s How much is a call from {x} to {y} per minute?
r Per minute, what does a call from {x} to {y} cost?
- swap: What does a call from {y} to {x} cost per minute?
- topic: What does a text message from {x} to {y} cost?
- unit: What does a call from {x} to {y} cost per second?
- antonym: What does a call received in {x} from {y} cost per minute?
< constraint: What does a call from {x} to {y} cost per minute with the student tariff?

faq: I have used up my {x} GB of data. Will I be charged for more?
x = 3 / 8 / 20
p Do I pay extra once the {x} GB of my plan are gone?
s My {x} GB of data are used up. Will I be billed for more?
r Will I be charged for more data when my {x} GB are used up?
- negation: I have not used up my {x} GB of data. Will they be carried over?
- topic: I have used up my {x} GB of data. Will I be slowed down?
- subject: My son has used up my {x} GB of data. Can I set a limit for him?
- date: I had used up my {x} GB of data last month. Was I charged for more?

faq: The internet at home has been slow since {x}. Is there a fault in my area?
x = noon / this morning / Easter
p Do you know of a problem near me? My home internet hasn't been fast since {x}.
s Since {x} the internet at my place has been sluggish. Is there an outage in my area?
r Is there a fault in my area? The internet at home has been slow since {x}.
- antonym: The internet at home has been fast since {x}. Was a fault in my area repaired?
- entity: The phone line at home has been bad since {x}. Is there a fault in my area?
- negation: The internet at home has been slow since {x} though there is no fault in my area. Is it my router?
- quantity: The internet has been slow in all our five shops since {x}. Is there a fault in the country?
- modality: The internet at home has been slow since {x}. Can I pay less for it?
"""
